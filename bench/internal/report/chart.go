package report

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a plot of lines.
type chart struct {
	title, x, y string
	logX, logY  bool
	ticks       []float64 // of the x axis; nil: as they come
	curves      []curve
}

// curve is one line of it.
type curve struct {
	name   string
	points plotter.XYs
	// guide is a line that nothing was measured of.
	guide bool
}

// empty reports whether there is nothing to draw.
func (c chart) empty() bool {
	for _, curve := range c.curves {
		if !curve.guide && len(curve.points) > 0 {
			return false
		}
	}
	return true
}

const (
	chartWidth  = 20 * vg.Centimeter
	chartHeight = 11 * vg.Centimeter
	chartMargin = 4 * vg.Millimeter
	chartText   = 11 // points
)

// The colours differ in lightness, too (Okabe and Ito's), and each has a shape of
// its own. The background is white, whatever the page's is.
var (
	colours = []color.Color{rgb(0x000000), rgb(0x0072b2), rgb(0x009e73),
		rgb(0xd55e00), rgb(0xe69f00), rgb(0xcc79a7), rgb(0x56b4e9), rgb(0x7f7f7f)}
	shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{},
		draw.TriangleGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}}
	faint = rgb(0xdddddd)
)

func rgb(v uint32) color.Color {
	return color.RGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 255}
}

// svg draws the chart.
func (c chart) svg() ([]byte, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	for _, style := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		*style = font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, chartText)
	}
	p.Title.TextStyle.Font.Size = chartText + 2
	p.Title.Padding, p.X.Label.Padding, p.Y.Label.Padding = chartMargin, chartMargin/2, chartMargin/2
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	p.Add(grid)
	legend := plot.NewLegend()
	legend.TextStyle = p.Legend.TextStyle
	legend.Top, legend.Left, legend.Padding = true, true, chartMargin/2
	for i, curve := range c.curves {
		if len(curve.points) == 0 {
			continue
		}
		if err := curve.add(p, &legend, i); err != nil {
			return nil, err
		}
	}
	c.scale(p)
	canvas := vgsvg.New(chartWidth, chartHeight)
	all := draw.New(canvas)
	all.SetColor(color.White) // behind the legend, too
	all.Fill(all.Rectangle.Path())
	all = draw.Crop(all, chartMargin, -chartMargin, chartMargin, -chartMargin)
	width := legend.Rectangle(all).Size().X + chartMargin
	p.Draw(draw.Crop(all, 0, -width-chartMargin, 0, 0))
	legend.Draw(draw.Crop(all, all.Rectangle.Size().X-width, 0, 0, -2*chartMargin))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")), nil
}

// add draws the i-th curve.
func (c curve) add(p *plot.Plot, legend *plot.Legend, i int) error {
	line, points, err := plotter.NewLinePoints(c.points)
	if err != nil {
		return err
	}
	line.Color, line.Width = colours[i%len(colours)], vg.Points(1.5)
	if c.guide {
		line.Dashes = []vg.Length{vg.Points(4), vg.Points(4)}
		p.Add(line)
		legend.Add(c.name, line)
		return nil
	}
	points.Color, points.Shape, points.Radius = line.Color, shapes[i%len(shapes)], vg.Points(3.5)
	p.Add(line, points)
	legend.Add(c.name, line, points)
	return nil
}

// scale sets the axes. One that is not logarithmic begins at 0.
func (c chart) scale(p *plot.Plot) {
	for axis, log := range map[*plot.Axis]bool{&p.X: c.logX, &p.Y: c.logY} {
		if log {
			axis.Scale, axis.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
			axis.Min, axis.Max = axis.Min/1.2, axis.Max*1.2
		} else {
			axis.Min, axis.Max = 0, axis.Max*1.05
			axis.Tick.Marker = plot.TickerFunc(plainTicks)
		}
	}
	if c.ticks != nil {
		var ticks plot.ConstantTicks
		for _, v := range c.ticks {
			ticks = append(ticks, plot.Tick{Value: v, Label: short(v)})
		}
		p.X.Tick.Marker = ticks
	}
}

// logTicks are 1, 2 and 5 of every power of ten.
func logTicks(low, high float64) (ticks []plot.Tick) {
	for power := 1e-3; power <= high; power *= 10 {
		for _, v := range []float64{power, 2 * power, 5 * power} {
			if v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: short(v)})
			}
		}
	}
	return ticks
}

func plainTicks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = short(ticks[i].Value)
		}
	}
	return ticks
}

// short writes 100000 as 100k.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v/1000, 'g', 6, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// write draws the chart into a file.
func (c chart) write(path string) error {
	data, err := c.svg()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
