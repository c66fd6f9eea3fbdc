"""The rows of the dashboards, one a file: `row(board)` adds its panels."""
