package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	armFaults()
	services := map[string]func(context.Context) error{
		"order": runOrder, "stock": runStock, "payment": runPayment, "shipping": runShipping,
	}
	if len(os.Args) != 2 || services[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: orderpayment order|stock|payment|shipping")
		os.Exit(2)
	}
	if err := services[os.Args[1]](ctx); err != nil {
		fmt.Fprintln(os.Stderr, "orderpayment:", err)
		stop()
		os.Exit(1)
	}
}
