package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// confirm asks whether to act on n. A single one that was named is not asked
// about.
func (a *app) confirm(ctx context.Context, b *bulk, n int, named bool) error {
	terminal := isTerminal(a.In)
	switch {
	case b.yes || named || n == 1 && !terminal:
		return nil
	case !terminal:
		return usagef("this would %s %s: add --yes, or see which with --dry-run", b.verb, plural(n, b.noun))
	}
	return confirmed(ctx, a.Err, a.In, fmt.Sprintf("%s %s?", capital(b.verb), plural(n, b.noun)))
}

// errUnconfirmed ends a command whose question was not answered with yes.
var errUnconfirmed = errors.New("not confirmed: nothing was done")

// confirmed asks a question that is answered with y or yes, or with anything else
// for no.
func confirmed(ctx context.Context, ask io.Writer, in io.Reader, question string) error {
	printf(ask, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // may outlive this call: a blocked read of a terminal cannot be cancelled
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		if a := strings.ToLower(strings.TrimSpace(line)); a == "y" || a == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return errUnconfirmed
}

// progress shows how far an action on n is, on a terminal. Each counts once when
// it was asked, and once more when its end is known if that is waited for.
func (a *app) progress(b *bulk, n int) (tick, done func()) {
	if n < 2 || !isTerminal(a.Err) || a.Term == "dumb" {
		return func() {}, func() {}
	}
	if b.wait > 0 {
		n *= 2
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(raw(a.Err)), progressbar.OptionSetDescription(b.verb),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	return func() { _ = bar.Add(1) }, func() { _ = bar.Finish() } // a bar that cannot be drawn is not missed
}
