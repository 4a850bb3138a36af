"""The analog crossbar: the only room that imports aihwkit."""
