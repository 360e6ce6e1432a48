import sys

from submodels import warm

status = warm.run(sys.argv[1:])
if status is None:
    from submodels.cli import main

    main()
sys.exit(status)
