"""Read, link, store and draw the decisions of a run, without pretending that stated reasons are causes."""
