"""anyclaude as an MCP server: what it can be asked, over the admin routes of the running one."""
