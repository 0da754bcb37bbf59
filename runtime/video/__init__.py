"""Video and image folders in and out."""
