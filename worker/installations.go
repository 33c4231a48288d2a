package worker

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
func (w *Worker) compareInstallations(ctx context.Context) {
	if w.o.Temporal == nil || w.o.Group == "" {
		return
	}
	same, err := w.broker.SameTaskQueue(ctx, w.o.Group)
	if err != nil {
		w.o.Logger.Debug("it is not known whether another installation has the group's task queue", "error", err)
		return
	}
	w.installations.mu.Lock()
	news := len(same) > len(w.installations.same)
	w.installations.same = same
	w.installations.mu.Unlock()
	if news {
		t := w.installations.trouble(workflows.TaskQueue(w.o.Prefix, w.o.Group))
		w.o.Logger.Error(t.What, "remedy", t.Remedy)
	}
}

// trouble is about none if there is nothing to say.
func (n *installations) trouble(taskQueue string) (t broker.Trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, x := range n.same {
		names = append(names, fmt.Sprintf("group %s with the prefix %s", x.Group, x.Prefix))
	}
	if len(names) == 0 {
		return t
	}
	return broker.Trouble{What: fmt.Sprintf("its task queue in Temporal, %s, is also that of %s: "+
		"in one namespace the processes of each run what the other one begins", taskQueue, strings.Join(names, ", ")),
		Remedy: "give one of them another namespace, or another prefix or group without a dot, " +
			"once its transactions and sagas have ended: docs/security.md#which-installation"}
}
