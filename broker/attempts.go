package broker

import (
	"time"
)

// LongRetry is how long after its first failure a message may still wait for a try,
// before somebody is told.
const LongRetry = 10 * time.Minute
