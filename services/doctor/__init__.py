"""`hushgate doctor`: tries what `hushgate up`, or an endpoint elsewhere, needs, and says how to mend what fails."""
