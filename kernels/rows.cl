// Reductions inside a row and over rows, gather and scatter of rows.

// How two partial results become one.
#define SUM(a, b) ((a) + (b))
#define MAX(a, b) most(a, b)
