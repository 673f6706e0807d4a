"""Pages beyond papers: documentation, repositories, the web. Reading only; a token goes to its own host and to no other."""
