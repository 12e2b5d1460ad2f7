"""What operators are told in numbers of the corpus, its tools and its contributors, beside those who write them."""
