package barrier

import "time"

// LeftAtOnce makes a session that has the lock of migrations and is idle one that was
// left behind, until restore is called.
func LeftAtOnce() (restore func()) {
	was := leftAfter
	leftAfter = time.Millisecond
	return func() { leftAfter = was }
}
