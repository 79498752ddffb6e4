package netem

import (
	"time"

	"github.com/towpath/towpath/packet"
)

// An Impairment is what happens to the packets of one direction. The zero value
// is none. [Parse] reads it from text, [Impairment.String] writes it.
type Impairment struct {
	// Delay holds each packet back.
	Delay time.Duration `yaml:"delay,omitempty"`
	// Jitter spreads the delay: its standard deviation, or for Uniform its
	// largest deviation. A delay is never less than zero.
	Jitter       time.Duration `yaml:"jitter,omitempty"`
	Distribution Distribution  `yaml:"distribution,omitempty"`
	// Correlation of a packet's jitter with that of the one before.
	Correlation Probability `yaml:"correlation,omitempty"`
	// Ordered: jitter reorders nothing; a packet waits for those before it.
	Ordered bool `yaml:"ordered,omitempty"`

	// Loss is the probability that a packet is lost.
	Loss Probability `yaml:"loss,omitempty"`
	// Gemodel loses packets in bursts.
	Gemodel Gemodel `yaml:"gemodel,omitempty"`
	// LossEvery loses every n-th packet.
	LossEvery int `yaml:"loss-every,omitempty"`
	// LossIf loses the packets for which it returns true. It is called for each
	// packet in turn, with its checksum complete and its link header in front,
	// and must neither change or keep the packet nor call the filter.
	LossIf func(p *packet.Packet) bool `yaml:"-" json:"-"`

	// Duplicate is the probability that a packet is sent twice.
	Duplicate Probability `yaml:"duplicate,omitempty"`
	// Reorder is the probability that a packet skips the delay, and so overtakes
	// those held back. With a Gap of n, n-1 packets are delayed before the next
	// may be reordered; a Gap alone reorders every n-th packet.
	Reorder Probability `yaml:"reorder,omitempty"`
	Gap     int         `yaml:"gap,omitempty"`
	// Corrupt is the probability that a bit behind the link header is flipped.
	Corrupt Probability `yaml:"corrupt,omitempty"`

	// Rate lets packets pass one after the other.
	Rate Rate `yaml:"rate,omitempty"`
	// Overhead is added to the length of each packet, which includes its link
	// header, when its time at Rate is computed (24 for Ethernet's preamble,
	// check sequence and gap). It may be negative.
	Overhead int `yaml:"overhead,omitempty"`
	// Limit and LimitBytes bound the queue in front of Rate, the packet that is
	// being sent included, or without a Rate what is held back. The packet that
	// finds it full is dropped. With a Rate, a Limit of 0 means 1000 packets;
	// otherwise 0 means no limit but the filter's memory.
	Limit      int `yaml:"limit,omitempty"`
	LimitBytes int `yaml:"limit-bytes,omitempty"`
}

// A Gemodel is the Gilbert-Elliott model of loss in bursts: a link is in a good
// or a bad state, and may change it after each packet (tc: loss gemodel).
type Gemodel struct {
	// P is the probability of good turning bad; 0 switches the model off.
	P Probability `yaml:"p,omitempty"`
	// R is the probability of bad turning good; 0 means 1-P.
	R Probability `yaml:"r,omitempty"`
	// Bad is the probability of loss in the bad state (tc: 1-h); 0 means 1.
	Bad Probability `yaml:"bad,omitempty"`
	// Good is the probability of loss in the good state (tc: 1-k).
	Good Probability `yaml:"good,omitempty"`
}

// A Probability is a number from 0 to 1. As text it is a percentage: "1%".
type Probability float64

// A Rate is in bits a second. As text it has a unit: "10mbit".
type Rate uint64

// The bounds of what can be asked for.
const (
	timeMax     = time.Hour
	rateMin     = 100
	rateMax     = 1e12
	countMax    = 1e9
	overheadMin = -64
	overheadMax = 1024

	limitDefault = 1000 // packets in front of a rate, as in tc
)

// IsZero reports whether nothing is impaired.
func (im *Impairment) IsZero() bool {
	return im.Delay == 0 && im.Jitter == 0 && im.Loss == 0 && im.Gemodel.P == 0 && im.LossEvery == 0 && im.LossIf == nil &&
		im.Duplicate == 0 && im.Corrupt == 0 && im.Rate == 0
}

// Validate returns an error that names the first value that cannot be.
func (im *Impairment) Validate() error {
	for _, t := range []struct {
		word string
		time.Duration
	}{{"delay", im.Delay}, {"jitter", im.Jitter}} {
		if t.Duration < 0 || t.Duration > timeMax {
			return mistake(t.word, t.String(), timeRange)
		}
	}
	for _, p := range []struct {
		word string
		Probability
	}{
		{"correlation", im.Correlation}, {"loss", im.Loss}, {"duplicate", im.Duplicate}, {"reorder", im.Reorder}, {"corrupt", im.Corrupt},
		{"loss gemodel", im.Gemodel.P}, {"loss gemodel", im.Gemodel.R}, {"loss gemodel", im.Gemodel.Bad}, {"loss gemodel", im.Gemodel.Good},
	} {
		if !(p.Probability >= 0 && p.Probability <= 1) {
			return mistake(p.word, p.String(), percentRange)
		}
	}
	for _, n := range []struct {
		word string
		n    int
	}{{"loss every", im.LossEvery}, {"gap", im.Gap}, {"limit", im.Limit}, {"limit", im.LimitBytes}} {
		if n.n < 0 || n.n > countMax {
			return mistake(n.word, itoa(n.n), countRange)
		}
	}
	switch {
	case im.Rate != 0 && (im.Rate < rateMin || im.Rate > rateMax):
		return mistake("rate", im.Rate.String(), rateRange)
	case im.Overhead < overheadMin || im.Overhead > overheadMax:
		return mistake("overhead", itoa(im.Overhead), overheadRange)
	case im.Distribution > ParetoNormal:
		return mistake("distribution", im.Distribution.String(), distributionRange)
	case im.Distribution != Uniform && im.Jitter == 0:
		return mistake("distribution", im.Distribution.String(), "there is no jitter to spread; write it behind the delay, such as: delay 10ms jitter 2ms normal")
	case im.Correlation != 0 && im.Jitter == 0:
		return mistake("correlation", im.Correlation.String(), "there is no jitter to correlate; write it behind the delay, such as: delay 10ms jitter 2ms")
	case im.Reorder != 0 && im.Delay == 0:
		return mistake("reorder", im.Reorder.String(), "packets overtake those held back, so there has to be a delay, such as: delay 10ms")
	case im.Gap != 0 && im.Delay == 0:
		return mistake("gap", itoa(im.Gap), "packets overtake those held back, so there has to be a delay, such as: delay 10ms")
	case im.Gemodel.P == 0 && im.Gemodel != Gemodel{}:
		return mistake("loss gemodel", "0%", "the link would never turn bad; give a probability above 0")
	case im.Overhead != 0 && im.Rate == 0:
		return mistake("overhead", itoa(im.Overhead), "there is no rate; write it too, such as: rate 10mbit")
	}
	return nil
}
