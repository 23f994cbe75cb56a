"""What the end-to-end tests are built from: real programs and servers, each in a directory of its own."""
