package cli

import (
	"context"
	"time"
)

// namesTime is how long may be spent on which names there are.
const namesTime = 5 * time.Second

// noteConsumer says, where nothing was found for a consumer, that none of that name is
// known, and which names are near. Empty: no consumer was named.
func (a *app) noteConsumer(ctx context.Context, t *temporalServer, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	known, _ := deadOwners(ctx, t, deadFilter{prefix: a.Prefix, states: []string{stateAll}}) // others may know more
	for _, k := range a.known(ctx, nil) {
		known = append(known, k.Name)
	}
	answers, _ := a.askOnce(ctx, nil)()
	for _, p := range answers {
		for _, c := range p.Consumers {
			known = append(known, c.Name)
		}
		for _, c := range p.Remembers {
			known = append(known, c.Name)
		}
	}
	a.note(unknownName("consumer", name, known))
}

// noteGroup is noteConsumer for a producer group.
func (a *app) noteGroup(ctx context.Context, t *temporalServer, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	known, _ := recentGroups(ctx, t)
	infos, _ := t.page(ctx, sagaFilter{prefix: a.Prefix}.query(), recentLimit)
	for _, info := range infos {
		if group, _, _, ok := splitSagaID(info.GetExecution().GetWorkflowId()); ok {
			known = append(known, group)
		}
	}
	answers, _ := a.askOnce(ctx, nil)()
	known = append(known, keptGroups(answers)...)
	a.note(unknownName("group", name, known))
}

// noteSaga is noteConsumer for the name of a saga.
func (a *app) noteSaga(ctx context.Context, t *temporalServer, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	var known []string
	infos, _ := t.page(ctx, sagaFilter{prefix: a.Prefix}.query(), recentLimit)
	for _, info := range infos {
		if _, saga, _, ok := splitSagaID(info.GetExecution().GetWorkflowId()); ok {
			known = append(known, saga)
		}
	}
	answers, _ := a.askOnce(ctx, nil)()
	for _, p := range answers {
		for _, d := range p.Sagas {
			known = append(known, d.Name)
		}
	}
	a.note(unknownName("saga", name, known))
}

func (a *app) note(sentence string) {
	if sentence != "" {
		printf(a.Err, "%s\n", oneLine(sentence))
	}
}
