"""What ships beside the code: the image and the manifests."""
