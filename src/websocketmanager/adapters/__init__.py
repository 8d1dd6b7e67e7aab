"""The world behind the ports: one library to a module, none knows another."""
