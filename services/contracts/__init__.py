"""Messages, subjects and data types shared by the services. Imports no other package of the project."""
