package frame

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// confirm asks whether to act on n. A single one that was named is not asked
// about.
func (a *App) confirm(ctx context.Context, b *Bulk, n int, named bool) error {
	terminal := text.IsTerminal(a.In)
	switch {
	case b.yes || named || n == 1 && !terminal:
		return nil
	case !terminal:
		return text.Usagef("this would %s %s: add --yes, or see which with --dry-run", b.Verb, text.Plural(n, b.Noun))
	}
	return confirmed(ctx, a.Err, a.In, fmt.Sprintf("%s %s?", text.Capital(b.Verb), text.Plural(n, b.Noun)))
}

// errUnconfirmed ends a command whose question was not answered with yes.
var errUnconfirmed = errors.New("not confirmed: nothing was done")

// confirmed asks a question that is answered with y or yes, or with anything else
// for no.
func confirmed(ctx context.Context, ask io.Writer, in io.Reader, question string) error {
	text.Printf(ask, "%s [y/N] ", question)
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
func (a *App) progress(b *Bulk, n int) (tick, done func()) {
	if n < 2 || !text.IsTerminal(a.Err) || a.Term == "dumb" {
		return func() {}, func() {}
	}
	if b.Wait > 0 {
		n *= 2
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(text.Raw(a.Err)),
		progressbar.OptionSetDescription(b.Verb),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	return func() { _ = bar.Add(1) }, func() { _ = bar.Finish() } // a bar that cannot be drawn is not missed
}
