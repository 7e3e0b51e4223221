"""`python -m launch` is `harnet`, for machines where the console script is not on the path."""

from launch.cli import entry_point

if __name__ == "__main__":
    entry_point()
