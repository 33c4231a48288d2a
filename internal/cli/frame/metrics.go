package frame

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/metrics"
)

// MetricsUsage is what the flag --metrics says.
const MetricsUsage = "serve metrics for Prometheus at http://HOST:PORT/metrics (default: no)"

// CheckMetrics says what is wrong with the value of --metrics.
func CheckMetrics(address string) error {
	if address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return text.Usagef("--metrics %s: want HOST:PORT, such as 127.0.0.1:9464", address)
	}
	return nil
}

// ServeMetrics serves e at that address until stop is called, and says at which URL. An
// empty address serves nothing.
func ServeMetrics(ctx context.Context, address string, e *metrics.Exporter) (url string, stop func(), err error) {
	if address == "" {
		return "", func() {}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", nil, text.WithRemedy(err, "choose another address with --metrics")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // until Close
	}()
	return "http://" + l.Addr().String() + "/metrics", func() {
		_ = s.Close()
		<-ended
	}, nil
}
