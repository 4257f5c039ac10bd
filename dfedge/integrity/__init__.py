"""What is checked of a stranger's folder before it is read: names, links, sizes, hashes, signer."""
