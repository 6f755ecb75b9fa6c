"""Rules of policies that do not do what whoever wrote them may think."""
