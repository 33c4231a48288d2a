package setup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// pausing is what pause and resume have in common.
type pausing struct {
	frame.Who
	lasts  time.Duration
	asJSON bool
}

func newConsumersPauseCommand(a *frame.App) *cobra.Command {
	var p pausing
	c := &cobra.Command{
		Use:   "pause NAME",
		Short: "Have all processes of a consumer take no message",
		Long: `Have all processes of a consumer or participant, those that begin later, too,
take no message. What their handlers have in hand ends; messages wait in the
queue. It stays so until "holdfast consumers resume", or for the time of --for,
whatever is restarted meanwhile, RabbitMQ too. --for counts by RabbitMQ's clock.
A consumer that is paused already is paused so from now on.

The command waits 10 s for the processes to heed it; the exit status is 1 if one
does not, or has messages in hand still.

JSON: consumer, pause (id, consumer, by, reason, since, until), processes
(instance, heeds, in_work, why).`,
		Example: "  holdfast consumers pause mailer --reason \"the mail server moves\" --for 2h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("for") && (p.lasts < broker.MinPause || p.lasts > broker.MaxPause) {
				return text.Usagef("--for %v: want %v to %v", p.lasts, broker.MinPause, broker.MaxPause)
			}
			return p.run(cmd.Context(), a, args[0], consumers.Pause)
		},
	}
	p.register(c)
	c.Flags().DurationVar(&p.lasts, "for", 0, "how long, such as 30m (default: until somebody resumes it)")
	return c
}

func newConsumersResumeCommand(a *frame.App) *cobra.Command {
	var p pausing
	c := &cobra.Command{
		Use:   "resume NAME",
		Short: "Have a consumer go on that somebody has paused",
		Long: `Have a consumer or participant go on that "holdfast consumers pause" has paused.
One that its circuit breaker has paused goes on by itself.

JSON: consumer, ended (the pauses), processes (instance, heeds, in_work, why).`,
		Example: "  holdfast consumers resume mailer --reason \"the mail server is there again\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), a, args[0], consumers.Resume)
		},
	}
	p.register(c)
	return c
}

func (p *pausing) register(c *cobra.Command) {
	p.Who.Register(c.Flags())
	c.Flags().BoolVar(&p.asJSON, "json", false, "write JSON")
}

// run does it, and says what came of it.
func (p *pausing) run(ctx context.Context, a *frame.App, name string,
	do func(context.Context, *reach.Config, consumers.Order) (consumers.Told, error)) error {
	p.Complete(a)
	if err := p.Check(); err != nil {
		return err
	}
	told, err := do(ctx, &a.Config, consumers.Order{Name: name, Operator: p.Operator, Reason: p.Reason, Lasts: p.lasts})
	if err != nil {
		return err
	}
	if p.asJSON {
		err = text.JSON(a.Out, told)
	} else {
		text.Printf(a.Out, "%s\n", strings.Join(told.Lines(a.Now()), "\n"))
	}
	if err == nil && told.Bad() {
		return text.WithRemedy(fmt.Errorf("not all processes of %s have done so in time", name), "look again with %s",
			a.Suggester().Code("doctor", ""))
	}
	return err
}

func newConsumersPausedCommand(a *frame.App) *cobra.Command {
	var past, asJSON bool
	c := &cobra.Command{
		Use:   "paused",
		Short: "List the consumers that somebody has paused",
		Long: `List the consumers that somebody has paused by hand, whether processes of them
run or not. Those that a circuit breaker has paused are not among them: see
"holdfast doctor".

--past also lists those that have ended, by whom and why, the latest first: of
as many as RabbitMQ keeps, which is some thousands.

JSON: an array of id, consumer, by, reason, since, until, over, ended_by,
ended_reason.`,
		Example: "  holdfast consumers paused --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := consumers.Paused(cmd.Context(), &a.Config, past)
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, append([]broker.ConsumerPause{}, all...))
			}
			if len(all) == 0 {
				text.Printf(a.Out, "Nobody has paused a consumer.\n")
				return nil
			}
			t := text.NewTable(a.Out, "CONSUMER", "SINCE", "UNTIL", "BY", "REASON")
			for _, p := range all {
				ends := "-"
				if !p.Until.IsZero() {
					ends = text.Clock(p.Until, a.Now())
				}
				if p.Over {
					ends = strings.TrimSpace("ended " + p.EndedBy + " " + p.EndedReason)
				}
				t.Row(p.Consumer, strings.TrimPrefix(processes.Since(p.Since, a.Now()), " since "), ends, p.By, p.Reason)
			}
			return t.Flush()
		},
	}
	c.Flags().BoolVar(&past, "past", false, "also those that have ended")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}
