// Command holdfast is the operator's and the developer's tool: see
// holdfast --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfastmq/holdfast/internal/cli"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	os.Exit(cli.Main(ctx, os.Args[1:], frame.Process()))
}
