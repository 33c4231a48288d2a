package saga

import "github.com/holdfastmq/holdfast/saga/core"

// Mermaid draws the saga as a flowchart for Mermaid (https://mermaid.js.org), or
// says what is wrong with its definition.
func (d Saga[S]) Mermaid() (string, error) {
	c, err := d.Compile()
	if err != nil {
		return "", err
	}
	return core.Mermaid(c.Plan), nil
}
