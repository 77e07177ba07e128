"""What `prefdata preflight` found, in the terminal and as Markdown, and one row in colour. It reads plain records."""
