package holdfast

// Trace is a place in a distributed trace, as W3C's Trace Context writes it: what a
// message has in its headers traceparent and tracestate, and a saga in its record. The
// zero value is no place. It is only ever continued as a trace's remote parent: nothing
// else is decided by it, and a malformed one counts as none.
type Trace struct {
	// Parent is the value of traceparent, such as
	// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".
	Parent string `json:"traceparent,omitempty"`
	// State is the value of tracestate, which is the tracing system's own.
	State string `json:"tracestate,omitempty"`
}

// The names of the headers, as W3C's Trace Context has them.
const (
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"
)

// The limits on what is taken for a trace, in bytes. W3C has 55 for a traceparent of this
// version, and asks for at least 512 of tracestate to be passed on.
const (
	maxTraceParent = 128
	maxTraceState  = 512
)

// TraceOf is the place in a trace that headers name; zero where they name none, or what
// they say is too long for one.
func TraceOf(headers map[string]string) Trace {
	return Trace{Parent: headers[HeaderTraceParent], State: headers[HeaderTraceState]}.Bounded()
}

// Bounded is t without what is too long: it may come from anybody.
func (t Trace) Bounded() Trace {
	if t.Parent == "" || len(t.Parent) > maxTraceParent {
		return Trace{}
	}
	if len(t.State) > maxTraceState {
		t.State = ""
	}
	return t
}
