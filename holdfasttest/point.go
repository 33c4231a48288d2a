package holdfasttest

// Point is an instant at which a producer dies.
type Point string
