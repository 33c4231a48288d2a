package stack

import (
	"context"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

const (
	watchEvery = 5 * time.Second
	// stuckAfter is how many probes in a row have to find the dev server stuck.
	stuckAfter = 3
)

// sqliteStuck is what Temporal's dev server answers to everything, for ever, once one
// of its statements was interrupted at the wrong moment (seen after about an hour on a
// busy machine): SQLite interrupts every further statement while the interrupted one
// has not ended.
const sqliteStuck = "interrupted (9)"

// watch starts p again, on the same data, whenever it is stuck, until ctx ends. A part
// that somebody has stopped, killed or started meanwhile is left alone.
func (p *Part) watch(ctx context.Context, every time.Duration) {
	found := 0
	for process.Pause(ctx, every) == nil {
		pid := p.PID()
		probe, stop := context.WithTimeout(ctx, probeTimeout)
		_, err := p.driver.probe(probe)
		stop()
		if err == nil || !strings.Contains(err.Error(), sqliteStuck) {
			found = 0
			continue
		}
		if found++; found < stuckAfter {
			continue
		}
		found = 0
		p.out.Line(p.name, "answers nothing but %q any more: it is started again", sqliteStuck)
		if err := p.restartAs(ctx, pid); err != nil {
			p.out.Line(p.name, "%v", err)
		}
	}
}

// restartAs starts the part again if its main process is still pid.
func (p *Part) restartAs(ctx context.Context, pid int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pid == 0 || p.PID() != pid {
		return nil
	}
	if err := p.kill(); err != nil {
		return err
	}
	return p.start(ctx)
}
