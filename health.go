package holdfast

// The words for how far a worker is.
const (
	WorkerStarting = "starting" // Run has not been called, or still reaches what it needs
	WorkerRunning  = "running"
	WorkerDraining = "draining" // Run's context is done: what is in hand comes to its end
	WorkerEnded    = "ended"    // Run has returned
)

// Health says how a worker is, for a platform that restarts processes and sends them work.
type Health struct {
	// State is [WorkerStarting] or one of the other words.
	State string `json:"state"`
	// Live says that it need not be restarted. It is false once Run has returned, and for
	// nothing else: what a worker has lost, it reaches again by itself.
	Live bool `json:"live"`
	// Ready says that it can take work: it runs, and reaches all that it needs.
	Ready bool `json:"ready"`
	// Parts are the servers that it uses.
	Parts []HealthPart `json:"parts,omitempty"`
}

// HealthPart says whether a worker reaches one of its servers.
type HealthPart struct {
	// Name is "RabbitMQ", "PostgreSQL" or "Temporal"; where consumers and participants have
	// databases of their own, "PostgreSQL of" and one of their names.
	Name string `json:"name"`
	// Up says that it is reached, and takes what is sent.
	Up bool `json:"up"`
	// Needed says that the worker is not ready without it. Temporal is not needed where
	// Options.Lane is Express.
	Needed bool `json:"needed"`
	// Error is why it is not up, and since when, where that is known.
	Error string `json:"error,omitempty"`
}
