package actions

import "github.com/holdfastmq/holdfast/workflows"

// MaxOperator is how many bytes an operator's name may have: longer ones are cut in
// histories.
const MaxOperator = workflows.MaxOperator

// ErrReserved refuses a name that Holdfast itself signs with.
var ErrReserved = workflows.ErrReserved

// CheckOperator says why nobody can act under a name.
func CheckOperator(name string) error { return workflows.CheckOperator(name) }
