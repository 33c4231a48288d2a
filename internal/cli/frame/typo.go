package frame

import (
	"context"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// namesTime is how long may be spent on which names there are.
const namesTime = 5 * time.Second

// NoteConsumer says, where nothing was found for a consumer, that none of that name is
// known, and which names are near. Empty: no consumer was named.
func (a *App) NoteConsumer(ctx context.Context, t *server.Temporal, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	known, _ := deadletters.Owners(ctx, t, deadletters.Filter{Prefix: a.Prefix,
		States: []string{server.StateAll}}) // others may know more
	for _, k := range a.KnownConsumers(ctx, nil) {
		known = append(known, k.Name)
	}
	answers, _ := a.AskOnce(ctx, nil)()
	for _, p := range answers {
		for _, c := range p.Consumers {
			known = append(known, c.Name)
		}
		for _, c := range p.Remembers {
			known = append(known, c.Name)
		}
	}
	a.Note(text.UnknownName("consumer", name, known))
}

// NoteGroup is NoteConsumer for a producer group.
func (a *App) NoteGroup(ctx context.Context, t *server.Temporal, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	known, _ := transactions.RecentGroups(ctx, t)
	infos, _ := t.Page(ctx, sagas.Filter{Prefix: a.Prefix}.Query(), server.RecentLimit)
	for _, info := range infos {
		if group, _, _, ok := sagas.SplitID(info.GetExecution().GetWorkflowId()); ok {
			known = append(known, group)
		}
	}
	answers, _ := a.AskOnce(ctx, nil)()
	known = append(known, processes.KeptGroups(answers)...)
	a.Note(text.UnknownName("group", name, known))
}

// NoteSaga is NoteConsumer for the name of a saga.
func (a *App) NoteSaga(ctx context.Context, t *server.Temporal, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	var known []string
	infos, _ := t.Page(ctx, sagas.Filter{Prefix: a.Prefix}.Query(), server.RecentLimit)
	for _, info := range infos {
		if _, saga, _, ok := sagas.SplitID(info.GetExecution().GetWorkflowId()); ok {
			known = append(known, saga)
		}
	}
	answers, _ := a.AskOnce(ctx, nil)()
	for _, p := range answers {
		for _, d := range p.Sagas {
			known = append(known, d.Name)
		}
	}
	a.Note(text.UnknownName("saga", name, known))
}

// Note writes a sentence to the standard error; an empty one not.
func (a *App) Note(sentence string) {
	if sentence != "" {
		text.Printf(a.Err, "%s\n", text.OneLine(sentence))
	}
}
