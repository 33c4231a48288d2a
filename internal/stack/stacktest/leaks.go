package stacktest

import (
	"time"

	"go.uber.org/goleak"
)

// Leaks is an error that names the goroutines that are left, but for those of the
// options. Those that are about to end have half a minute for that: a slow machine
// may need more than goleak waits by itself.
func Leaks(options ...goleak.Option) (err error) {
	for range 60 {
		if err = goleak.Find(options...); err == nil {
			return nil
		}
		time.Sleep(500 * time.Millisecond)
	}
	return err
}
