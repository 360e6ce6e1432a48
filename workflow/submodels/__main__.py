from submodels.cli import main

main()
