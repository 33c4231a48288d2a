package core

import (
	"fmt"
	"strings"
)

// Mermaid draws a plan as a flowchart for Mermaid (https://mermaid.js.org): the way
// forward with solid arrows, and the Undos, the last step's first, with dotted
// ones.
func Mermaid(p Plan) string {
	d := &diagram{}
	d.line("flowchart TD")
	d.line(`start(["%s"])`, text(fmt.Sprintf("%s, version %d", p.Name, p.Version)))
	for _, e := range d.sequence(p.Steps, []edge{{from: "start"}}) {
		e.to(d, "completed")
	}
	d.line(`completed(["completed"])`)
	d.undos()
	d.line("classDef pivot stroke-width:4px")
	d.line("classDef undo stroke-dasharray:4 4")
	return d.out.String()
}

// diagram numbers the nodes, since not every name is a Mermaid ID.
type diagram struct {
	out  strings.Builder
	n    int
	done []undone
}

// undone is a step that has an Undo.
type undone struct {
	id   string
	step *Step
}

// edge is an arrow that has a beginning.
type edge struct{ from, label string }

func (e edge) to(d *diagram, id string) {
	arrow := "-->"
	if e.label != "" {
		arrow = `-->|"` + text(e.label) + `"|`
	}
	d.line("%s %s %s", e.from, arrow, id)
}

func (d *diagram) line(format string, args ...any) {
	if d.out.Len() > 0 {
		d.out.WriteString("    ")
	}
	fmt.Fprintf(&d.out, format+"\n", args...)
}

func (d *diagram) node(format string, args ...any) string {
	d.n++
	id := fmt.Sprintf("n%d", d.n)
	d.line(id+format, args...)
	return id
}

// sequence draws steps one after the other, and returns the arrows that leave it.
func (d *diagram) sequence(steps []Step, in []edge) []edge {
	for i := range steps {
		in = d.step(&steps[i], in)
	}
	return in
}

func (d *diagram) step(s *Step, in []edge) []edge {
	switch s.Kind {
	case Sequence:
		return d.sequence(s.Steps, in)
	case Parallel:
		fork := d.node(`[/"%s: all at once"\]`, text(s.Name))
		arrive(d, in, fork)
		var ends []edge
		for i := range s.Steps {
			ends = append(ends, d.step(&s.Steps[i], []edge{{from: fork}})...)
		}
		join := d.node(`[\"%s: all done"/]`, text(s.Name))
		arrive(d, ends, join)
		return []edge{{from: join}}
	case Choice:
		return d.choice(s, in)
	}
	var out []edge
	if s.Conditional {
		ask := d.node(`{"do %s?"}`, text(s.Name))
		arrive(d, in, ask)
		in, out = []edge{{ask, "yes"}}, []edge{{ask, "no"}}
	}
	id := d.leaf(s)
	arrive(d, in, id)
	if s.Undo {
		d.done = append(d.done, undone{id, s})
	}
	return append([]edge{{from: id}}, out...)
}

func (d *diagram) choice(s *Step, in []edge) []edge {
	id := d.node(`{"%s"}`, text(s.Name))
	arrive(d, in, id)
	var out []edge
	otherwise := false
	for i := range s.Steps {
		c := &s.Steps[i]
		label := c.Case
		if label == "" {
			label, otherwise = "otherwise", true
		}
		out = append(out, d.sequence(c.Steps, []edge{{id, label}})...)
	}
	if !otherwise {
		out = append(out, edge{id, "otherwise"})
	}
	return out
}

func arrive(d *diagram, in []edge, id string) {
	for _, e := range in {
		e.to(d, id)
	}
}

// leaf draws a step in its kind's shape, and says what becomes of its failure
// where that is not the usual.
func (d *diagram) leaf(s *Step) string {
	lines := []string{s.Name}
	shape := `["%s"]`
	switch s.Kind {
	case Message:
		lines, shape = append(lines, "message "+s.Topic), `>"%s"]`
	case Activity:
		lines, shape = append(lines, "activity "+s.Type), `[["%s"]]`
	case Wait:
		lines, shape = append(lines, fmt.Sprintf("waits, at most %s", s.TryTimeout())), `{{"%s"}}`
	case Saga:
		lines, shape = append(lines, "saga "+s.Saga.Name), `[["%s"]]`
	}
	if s.Pivot {
		lines, shape = append(lines, "PIVOT"), shape+":::pivot"
	}
	switch s.OnFailure {
	case Forward:
		lines = append(lines, "forward: tried until it succeeds")
	case Park:
		lines = append(lines, "park: a failure waits for an operator")
	}
	for i := range lines {
		lines[i] = text(lines[i])
	}
	return d.node(shape, strings.Join(lines, "<br/>"))
}

// undos draws the way back. Only steps that were begun are undone.
func (d *diagram) undos() {
	from := ""
	for i := len(d.done) - 1; i >= 0; i-- {
		u := d.done[i]
		label := "undo " + text(u.step.Name)
		switch u.step.Kind {
		case Message:
			label += "<br/>message " + text(u.step.UndoTopic)
		case Activity:
			label += "<br/>activity " + text(u.step.UndoType)
		}
		id := d.node(`["%s"]:::undo`, label)
		d.line(`%s -.->|"undo"| %s`, u.id, id)
		if from != "" {
			d.line("%s -.-> %s", from, id)
		}
		from = id
	}
	if from != "" {
		d.line("%s -.-> compensated", from)
		d.line(`compensated(["compensated"])`)
	}
}

// codes are Mermaid's own for what cannot stand between quotes.
var codes = strings.NewReplacer("&", "#amp;", "#", "#35;",
	`"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;", "\n", " ")

// text makes a label of a topic, a type or a case, which can be any text.
func text(s string) string { return codes.Replace(s) }
