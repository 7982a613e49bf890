"""The paper's figure, a file a box: from a clip and a query to a response track."""
