"""Looking at runs over a broker from elsewhere: what there is, and what one file prints."""
