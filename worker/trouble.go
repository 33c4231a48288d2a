package worker

import (
	"fmt"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/sagarun"
)

// troubles are what people should know of this process, for `holdfast doctor`.
func (w *Worker) troubles() (out []broker.Trouble) {
	if w.o.Temporal != nil {
		if since, err := w.attached.trouble(); err != nil {
			out = append(out, broker.Trouble{What: "it does not work for Temporal, and what needs that fails: " +
				err.Error(), Since: since,
				Remedy: "mend what the error names; it goes on by itself, and the Express lane goes on sending"})
		}
	}
	out = append(out, w.databases.SmallPools()...)
	if d := w.sagas.waiters.Distrusted(); d.N > 0 {
		out = append(out, distrusts(d))
	}
	if t := w.peers.SharedTaskQueue(); t.What != "" {
		out = append(out, t)
	}
	if t := w.keeper.Unkept(); t.What != "" {
		out = append(out, t)
	}
	return append(out, w.alerts.Troubles()...)
}

// distrusts says that sagas of this process do not take their participants' replies.
func distrusts(d sagarun.Distrusted) broker.Trouble {
	return broker.Trouble{Since: d.Since,
		What: fmt.Sprintf("%d replies to its sagas did not count, since they had not the token of the call, "+
			"or named another topic; the last one from participant %q, for step %s of %s",
			d.N, d.Last.Participant, d.Last.Step, d.Last.Saga),
		Remedy: "set RollingUpgrade while participants of an earlier version run; participants " +
			"in other languages have to repeat token and topic; otherwise see who may write to the exchange of replies"}
}
