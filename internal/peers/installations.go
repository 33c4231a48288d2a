package peers

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows"
)

// installations are groups of other installations whose task queue in Temporal is this
// one's: in one namespace, the processes of one run what the other one begins.
type installations struct {
	mu   sync.Mutex
	same []broker.Installation
}

// compareInstallations looks for them. Names that are in use go on: it is told.
func (p *Peers) compareInstallations(ctx context.Context, b peerBroker) {
	if !p.o.Temporal || p.o.Group == "" {
		return
	}
	same, err := b.SameTaskQueue(ctx, p.o.Group)
	if err != nil {
		p.o.Logger.Debug("it is not known whether another installation has the group's task queue", "error", err)
		return
	}
	p.installations.mu.Lock()
	news := len(same) > len(p.installations.same)
	p.installations.same = same
	p.installations.mu.Unlock()
	if news {
		t := p.SharedTaskQueue()
		p.o.Logger.Error(t.What, "remedy", t.Remedy)
	}
}

// SharedTaskQueue is about installations with the same task queue; about nothing where there are
// none.
func (p *Peers) SharedTaskQueue() (t broker.Trouble) {
	p.installations.mu.Lock()
	defer p.installations.mu.Unlock()
	var names []string
	for _, x := range p.installations.same {
		names = append(names, fmt.Sprintf("group %s with the prefix %s", x.Group, x.Prefix))
	}
	if len(names) == 0 {
		return t
	}
	return broker.Trouble{What: fmt.Sprintf("its task queue in Temporal, %s, is also that of %s: "+
		"in one namespace the processes of each run what the other one begins",
		workflows.TaskQueue(p.o.Prefix, p.o.Group), strings.Join(names, ", ")),
		Remedy: "give one of them another namespace, or another prefix or group without a dot, " +
			"once its transactions and sagas have ended: docs/security.md#which-installation"}
}
