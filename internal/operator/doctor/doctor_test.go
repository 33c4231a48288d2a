package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestVersionsOfRabbitMQ(t *testing.T) {
	for version, want := range map[string]text.Level{
		"3.8.34": text.LevelProblem, "3.9.0": text.LevelProblem, "3.10.0": text.LevelOK, "3.13.7": text.LevelOK, "4.0.5": text.LevelOK, "4.3.6": text.LevelOK,
		"4.4.0": text.LevelWarning, "5.0.0": text.LevelWarning, "": text.LevelWarning, "odd": text.LevelWarning, "4.3.0-rc.1": text.LevelOK, "4.3+x": text.LevelOK,
	} {
		var f Findings
		f.rabbitVersion(broker.Info{Product: "RabbitMQ", Version: version})
		require.Equal(t, want, f.All[0].Level, version)
		require.Equal(t, want != text.LevelOK, f.All[0].Remedy != "", version)
	}
}

func TestVersionsOfTemporal(t *testing.T) {
	for version, want := range map[string]text.Level{
		"1.24.2": text.LevelProblem, "1.25.0": text.LevelWarning, "1.28.1": text.LevelWarning, "1.29.1": text.LevelOK, "1.31.0-151.2": text.LevelOK, "2.0.0": text.LevelOK, "cloud": text.LevelOK,
	} {
		require.Equal(t, want, temporalVersionFinding(version).Level, version)
	}
}

func TestQueues(t *testing.T) {
	for name, tc := range map[string]struct {
		look func(*Findings)
		want text.Level
	}{
		"no dead queue":                     {func(f *Findings) { f.dead(broker.QueueInfo{}) }, text.LevelOK},
		"no dead letters":                   {func(f *Findings) { f.dead(broker.QueueInfo{Exists: true}) }, text.LevelOK},
		"dead letters that nobody takes in": {func(f *Findings) { f.dead(broker.QueueInfo{Exists: true, Messages: 1}) }, text.LevelWarning},
		"dead letters being taken in":       {func(f *Findings) { f.dead(broker.QueueInfo{Exists: true, Messages: manyDead, Consumers: 1}) }, text.LevelOK},
		"a slow intake":                     {func(f *Findings) { f.dead(broker.QueueInfo{Exists: true, Messages: manyDead + 1, Consumers: 1}) }, text.LevelWarning},
		"nothing oversized":                 {func(f *Findings) { f.oversized(broker.QueueInfo{Exists: true}) }, text.LevelOK},
		"oversized":                         {func(f *Findings) { f.oversized(broker.QueueInfo{Exists: true, Messages: 1}) }, text.LevelWarning},
		"no half queue":                     {func(f *Findings) { f.halfQueue(processes.Kept("g", 1, broker.QueueInfo{}, nil)) }, text.LevelProblem},
		"no Keeper":                         {func(f *Findings) { f.halfQueue(processes.Kept("g", 1, broker.QueueInfo{Exists: true}, nil)) }, text.LevelProblem},
		"no Keeper of a further one":        {func(f *Findings) { f.halfQueue(processes.Kept("g", 2, broker.QueueInfo{Exists: true}, nil)) }, text.LevelProblem},
		"a Keeper": {func(f *Findings) {
			f.halfQueue(processes.Kept("g", 1, broker.QueueInfo{Exists: true, Consumers: 2}, nil))
		}, text.LevelOK},
		"a slow Keeper": {func(f *Findings) {
			f.halfQueue(processes.Kept("g", 1, broker.QueueInfo{Exists: true, Consumers: 1, Messages: manyWaiting + 1}, nil))
		}, text.LevelWarning},
		"no consumer queue": {func(f *Findings) { f.consumerQueue("c", broker.QueueInfo{}, nil) }, text.LevelProblem},
		"no consumer":       {func(f *Findings) { f.consumerQueue("c", broker.QueueInfo{Exists: true}, nil) }, text.LevelProblem},
		"a consumer":        {func(f *Findings) { f.consumerQueue("c", broker.QueueInfo{Exists: true, Consumers: 1}, nil) }, text.LevelOK},
		"a slow consumer": {func(f *Findings) {
			f.consumerQueue("c", broker.QueueInfo{Exists: true, Consumers: 1, Messages: manyWaiting + 1}, nil)
		}, text.LevelWarning},
		"a paused consumer": {func(f *Findings) {
			f.consumerQueue("c", broker.QueueInfo{Exists: true}, []broker.ConsumerStatus{{Breaker: broker.BreakerOpen}})
		}, text.LevelOK},
		"a consumer that reads nothing": {func(f *Findings) {
			f.consumerQueue("c", broker.QueueInfo{Exists: true}, []broker.ConsumerStatus{{Breaker: broker.BreakerClosed}})
		}, text.LevelWarning},
		"some suspects":  {func(f *Findings) { f.aloneQueue("c", broker.QueueInfo{Exists: true, Messages: 1}) }, text.LevelOK},
		"many suspects":  {func(f *Findings) { f.aloneQueue("c", broker.QueueInfo{Exists: true, Messages: manyAlone + 1}) }, text.LevelWarning},
		"no replies":     {func(f *Findings) { f.replyQueue("g", broker.QueueInfo{Exists: true}) }, text.LevelOK},
		"unread replies": {func(f *Findings) { f.replyQueue("g", broker.QueueInfo{Exists: true, Messages: 1}) }, text.LevelProblem},
		"replies":        {func(f *Findings) { f.replyQueue("g", broker.QueueInfo{Exists: true, Messages: 1, Consumers: 1}) }, text.LevelOK},
		"slow replies": {func(f *Findings) {
			f.replyQueue("g", broker.QueueInfo{Exists: true, Messages: manyWaiting + 1, Consumers: 1})
		}, text.LevelWarning},
		"exchange":           {func(f *Findings) { f.topology(broker.Info{Topics: true}, "x", true) }, text.LevelOK},
		"no exchange yet":    {func(f *Findings) { f.topology(broker.Info{}, "x", false) }, text.LevelWarning},
		"no exchange at all": {func(f *Findings) { f.topology(broker.Info{}, "x", true) }, text.LevelProblem},
	} {
		t.Run(name, func(t *testing.T) {
			var f Findings
			tc.look(&f)
			require.Equal(t, tc.want, f.All[0].Level)
			require.Equal(t, tc.want != text.LevelOK, f.All[0].Remedy != "", "everything that is wrong has a remedy")
		})
	}
}
