"""What people see of the market in a browser: pages made on the server, which work without a script."""
