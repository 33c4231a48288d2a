// Command prometheus is a worker that Prometheus can scrape: Holdfast's metrics, and those
// of Temporal's SDK. It is a module of its own, so that what joins the latter with
// OpenTelemetry is none of Holdfast's dependencies.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfastmq/holdfast/metrics"
	"github.com/holdfastmq/holdfast/worker"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	m, err := metrics.New() // github.com/holdfastmq/holdfast/metrics
	check(err)

	options, err := envconfig.LoadDefaultClientOptions()
	check(err)
	options.MetricsHandler = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: m.MeterProvider().Meter("temporal-sdk"),
	})
	c, err := client.NewLazyClient(options)
	check(err)
	defer c.Close()

	db, err := gorm.Open(postgres.Open(os.Getenv("DATABASE_URL")))
	check(err)
	w, err := worker.New(worker.Options{
		Group: "watched", Temporal: c, Namespace: options.Namespace, AMQPURL: os.Getenv("AMQP_URL"), DB: db,
		Meter: m.MeterProvider(),
	})
	check(err)

	http.Handle("/metrics", m)
	listener, err := net.Listen("tcp", os.Getenv("METRICS_ADDRESS")) // such as :9464
	check(err)
	log.Printf("metrics at http://%s/metrics", listener.Addr())
	go func() { log.Fatal(http.Serve(listener, nil)) }()
	check(w.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
