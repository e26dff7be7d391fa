"""The scripts at the top of the checkout and in script/, run as a person runs them."""
