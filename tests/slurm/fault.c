/* Preloaded into a run: a process that renames a file to a path with an order waiting does not get to it.
   An order is a file in $FAULTS, named as the path with % for /. Its first letter says what happens; it is obeyed once:
   k: SIGKILL   e: exit status 7   h: hangs   m: takes up to 8 GB of memory, slowly, then hangs */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void obey(int order) {
    if (order == 'k') kill(getpid(), SIGKILL);
    if (order == 'e') _exit(7);
    signal(SIGTERM, SIG_DFL); /* Python's own handler would wait for the end of this function */
    for (int taken = 0; order == 'm' && taken < 128; taken++) {
        void *memory = malloc(64 << 20);
        if (memory) memset(memory, 1, 64 << 20);
        usleep(200000);
    }
    for (;;) pause();
}

int rename(const char *from, const char *to) {
    const char *orders = getenv("FAULTS");
    char path[4096];
    if (orders && strlen(orders) + strlen(to) + 2 < sizeof path) {
        int start = sprintf(path, "%s/", orders);
        strcpy(path + start, to);
        for (char *c = path + start; *c; c++)
            if (*c == '/') *c = '%';
        FILE *file = fopen(path, "r");
        if (file) {
            int order = fgetc(file);
            fclose(file);
            if (unlink(path) == 0) obey(order);
        }
    }
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
