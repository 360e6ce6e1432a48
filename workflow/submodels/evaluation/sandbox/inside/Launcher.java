import java.io.DataInputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;

/**
 * Runs the class named in its argument. It takes the nonce from stdin before any class of the sample is loaded, keeps it
 * in a local variable, which no reflection reaches, and writes it once main has returned.
 */
class SubmodelsLauncher {
    public static void main(String[] arguments) throws Throwable {
        byte[] nonce = new byte[33];
        new DataInputStream(new FileInputStream(FileDescriptor.in)).readFully(nonce, 0, 32);
        nonce[32] = '\n';
        FileOutputStream out = new FileOutputStream(FileDescriptor.out);
        try {
            Class.forName(arguments[0]).getMethod("main", String[].class).invoke(null, (Object) new String[0]);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
        try {
            out.write(nonce);
        } catch (IOException closed) { // by the sample
        }
    }
}
