"""A sweep as one html page that needs no server: sortable table, plots, images with links."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from hoijax.errors import UserError
from hoijax.experiments.tables import cells, pareto_front
from hoijax.results.result import Result

COST, GAIN = "penetration cm", "edge contact@5cm"
"""Axes of the Pareto plot: how deep bodies are in objects, and how often asked contacts hold."""
MAX_IMAGES = 24
SIZE = (200, 150)
Row = dict[str, Any]


@dataclass(frozen=True)
class Thumbnail:
    """What a row shows: a PNG, and the folder of its result beside the page."""

    png: bytes
    link: str


def shown_rows(rows: Sequence[Row]) -> list[int]:
    """Rows with images: all of them where they are few, else the Pareto front and the least losses."""
    if len(rows) <= MAX_IMAGES:
        return list(range(len(rows)))
    chosen = front_of(rows)
    by_loss = sorted(range(len(rows)), key=lambda w: rows[w]["loss"])
    return sorted(list(dict.fromkeys([*chosen, *by_loss]))[:MAX_IMAGES])


def front_of(rows: Sequence[Row]) -> list[int]:
    """Rows that no other beats in contact without losing in penetration."""
    costs, gains = (np.array([row[name] for row in rows], float) for name in (COST, GAIN))
    return pareto_front(costs, gains)


def thumbnail(result: Result, view: Any = None) -> tuple[bytes, Any]:
    """(PNG of the winner in the middle of the clip, the view it was taken from).

    view: of an earlier image, so that images compare.
    """
    from PIL import Image

    from hoijax.bodies import load_body
    from hoijax.exporters import clip_from_result
    from hoijax.exporters.video import choose_camera, clip_meshes
    from hoijax.rendering.raycast import cast
    from hoijax.rendering.shading import make_backdrop, shade

    clip = clip_from_result(result, load_body(result.body_name))
    if view is None:
        view = choose_camera(clip, 2 * SIZE[0], 2 * SIZE[1])
    camera, T_world_camera = view
    shot = cast(clip_meshes(clip, clip.frame_count // 2), camera, T_world_camera)
    image = shade(shot, make_backdrop(camera, T_world_camera))
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image)).resize(SIZE, Image.Resampling.BOX).save(stream, "PNG")
    return stream.getvalue(), view


def pareto_png(rows: Sequence[Row]) -> bytes:
    """Contact against penetration with confidence intervals. UserError without matplotlib."""
    figure = _figure((6.0, 4.2))
    axes = figure.add_subplot()
    x, y = ([row[name] for row in rows] for name in (COST, GAIN))
    dx, dy = ([row.get(f"{name} +-", 0.0) for row in rows] for name in (COST, GAIN))
    axes.errorbar(x, y, dy, dx, fmt="o", ms=4, color="#7a8aa0", ecolor="#c9d1db", lw=0.8)
    front = front_of(rows)
    axes.plot([x[w] for w in front], [y[w] for w in front], "-o", color="#c2410c", ms=5, zorder=3)
    for w in front[:12]:
        axes.annotate(str(w + 1), (x[w], y[w]), xytext=(4, 4), textcoords="offset points", size=7)
    axes.set(xlabel=f"{COST} (less is better)", ylabel=f"{GAIN} (more is better)")
    axes.grid(color="#eceff3", lw=0.6)
    axes.set_axisbelow(True)
    # Wide intervals of few scenes may leave the image, the points may not.
    axes.set_xlim(*_limits(x))
    axes.set_ylim(*_limits(y))
    return _png(figure)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def bars_png(rows: Sequence[Row], label: str, columns: Sequence[str]) -> bytes:
    """A panel of bars for every column, one bar a row. UserError without matplotlib."""
    figure = _figure((2.0 * len(columns) + 2.0, 0.4 * len(rows) + 1.2))
    panels = np.atleast_1d(figure.subplots(1, len(columns), sharey=True))
    places = np.arange(len(rows))
    for panel, column in zip(panels, columns, strict=True):
        panel.barh(places, [row[column] for row in rows], color="#7a8aa0")
        panel.set_title(column, fontsize=9)
        panel.set_xlim(left=0.0)
        panel.tick_params(labelsize=8)
    panels[0].set_yticks(places, [str(row[label]) for row in rows])
    panels[0].invert_yaxis()
    return _png(figure)


def curves_png(rows: Sequence[Row], label: str, x: str, y: str) -> bytes:
    """A curve for every label. UserError without matplotlib."""
    figure = _figure((6.0, 4.2))
    axes = figure.add_subplot()
    for name in dict.fromkeys(row[label] for row in rows):
        mine = [row for row in rows if row[label] == name]
        axes.plot([row[x] for row in mine], [row[y] for row in mine], "-o", ms=3, label=str(name))
    axes.set(xlabel=x, ylabel=y)
    axes.set_ylim(bottom=0.0)
    axes.grid(color="#eceff3", lw=0.6)
    axes.legend(fontsize=7, ncols=2)
    return _png(figure)


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            "plots as png need matplotlib: pip install 'hoijax[plots]'. index.html of a sweep has its "
            "plots without it."
        ) from error
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def page_html(rows: Sequence[Row], images: Mapping[int, Thumbnail], run: Mapping[str, Any]) -> str:
    """The whole page."""
    columns, body = cells(rows)
    numbers = [[_number(row[name]) for name in columns] for row in rows]
    spreads = [[row.get(f"{name} +-", 0.0) for name in columns] for row in rows]
    data = {
        "columns": columns,
        "values": numbers,
        "spreads": spreads,
        "front": front_of(rows),
        "x": columns.index(COST),
        "y": columns.index(GAIN),
    }
    lines = "".join(
        f'<tr data-row="{w}"{_front_class(w, data["front"])}><td>{w + 1}</td>'
        f"<td>{_image(images.get(w), w)}</td>"
        + "".join(f"<td>{escape(text)}</td>" for text in line)
        + "</tr>"
        for w, line in enumerate(body)
    )
    head = "".join(
        f'<th tabindex="0" data-column="{i}">{escape(name)}</th>' for i, name in enumerate(columns)
    )
    scenes = len(run.get("bundles", {}))
    about = (
        f"{len(rows)} designs, {scenes} scenes, {run.get('programs', '?')} compiled programs, "
        f"{run.get('seconds', 0):.0f} s on {run.get('device', '?')}"
    )
    return (
        _PAGE.replace("@ABOUT@", escape(about))
        .replace("@HEAD@", head)
        .replace("@ROWS@", lines)
        .replace("@DATA@", json.dumps(data).replace("<", "\\u003c"))
    )


def _front_class(w: int, front: Sequence[int]) -> str:
    return ' class="front"' if w in front else ""


def _image(image: Thumbnail | None, w: int) -> str:
    if image is None:
        return ""
    data = base64.b64encode(image.png).decode()
    link = escape(image.link, quote=True)
    return (
        f'<a href="{link}/"><img alt="design {w + 1}" width="{SIZE[0] // 2}" '
        f'src="data:image/png;base64,{data}"></a>'
    )


def _number(value: Any) -> float | None:
    """What a row is sorted and drawn by; of a ramp its end."""
    if isinstance(value, str):
        value = value.rpartition(":")[2]
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>hoijax sweep</title>
<meta name="viewport" content="width=device-width">
<style>
html{overflow-anchor:none}
body{font:14px/1.45 system-ui,sans-serif;margin:24px;color:#1f2733;background:#fff}
h1{font-size:20px;margin:0 0 2px}p{margin:0 0 16px;color:#5b6675}
.plots{display:flex;flex-wrap:wrap;gap:24px;margin-bottom:20px}
figure{margin:0}figcaption,label{font-size:12px;color:#5b6675}
select{font:inherit;font-size:12px;max-width:190px}
svg{display:block;border:1px solid #e3e8ee;border-radius:6px}
.scroll{overflow-x:auto;border:1px solid #e3e8ee;border-radius:6px}
table{border-collapse:collapse;font-size:12.5px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid #edf0f4}
th{cursor:pointer;background:#f6f8fa;user-select:none}
th[aria-sort=ascending]:after{content:" \\2191"}th[aria-sort=descending]:after{content:" \\2193"}
tr.front td:first-child{color:#c2410c;font-weight:700}tr.lit td{background:#fff4e8}
img{display:block;border-radius:3px}circle{cursor:pointer}
</style></head><body>
<h1>Sweep</h1><p>@ABOUT@. Means over scenes and seeds &plusmn; half of the 95&nbsp;% interval.
Orange: no other design has more contact with less penetration.</p>
<div class="plots">
<figure><svg id="pareto" width="430" height="300"></svg><figcaption>contact against penetration</figcaption></figure>
<figure><svg id="effect" width="430" height="300"></svg>
<label>y <select id="y"></select></label> <label>x <select id="x"></select></label></figure>
</div>
<div class="scroll"><table><thead><tr><th data-column="-1" tabindex="0">#</th><th></th>@HEAD@</tr></thead>
<tbody>@ROWS@</tbody></table></div>
<script>
const D=@DATA@;
const NS="http://www.w3.org/2000/svg";
function el(name,attrs,parent,text){const e=document.createElementNS(NS,name);
 for(const k in attrs)e.setAttribute(k,attrs[k]);if(text!==undefined)e.textContent=text;
 parent.appendChild(e);return e}
function ticks(lo,hi){const span=hi-lo||1,step=Math.pow(10,Math.floor(Math.log10(span/4)));
 const s=[1,2,5,10].map(m=>m*step).find(s=>span/s<=5),out=[];
 for(let t=Math.ceil(lo/s)*s;t<=hi+1e-9*span;t+=s)out.push(+t.toPrecision(6));return out}
function extent(values){let lo=Math.min(...values),hi=Math.max(...values);
 if(lo===hi){lo-=Math.abs(lo)*0.1+0.01;hi+=Math.abs(hi)*0.1+0.01}
 const pad=(hi-lo)*0.06;return[lo-pad,hi+pad]}
function plot(id,xi,yi,front){const svg=document.getElementById(id);svg.replaceChildren();
 const W=430,H=300,L=58,R=12,T=12,B=40;
 const rows=D.values.map((v,i)=>i).filter(i=>D.values[i][xi]!==null&&D.values[i][yi]!==null);
 if(!rows.length)return;
 const[xl,xh]=extent(rows.map(i=>D.values[i][xi])),[yl,yh]=extent(rows.map(i=>D.values[i][yi]));
 const X=v=>L+(v-xl)/(xh-xl)*(W-L-R),Y=v=>H-B-(v-yl)/(yh-yl)*(H-T-B);
 for(const t of ticks(xl,xh)){el("line",{x1:X(t),x2:X(t),y1:T,y2:H-B,stroke:"#eef1f4"},svg);
  el("text",{x:X(t),y:H-B+15,"text-anchor":"middle","font-size":10,fill:"#5b6675"},svg,t)}
 for(const t of ticks(yl,yh)){el("line",{x1:L,x2:W-R,y1:Y(t),y2:Y(t),stroke:"#eef1f4"},svg);
  el("text",{x:L-6,y:Y(t)+3,"text-anchor":"end","font-size":10,fill:"#5b6675"},svg,t)}
 el("text",{x:(L+W-R)/2,y:H-8,"text-anchor":"middle","font-size":11},svg,D.columns[xi]);
 el("text",{x:13,y:(T+H-B)/2,"text-anchor":"middle","font-size":11,
  transform:"rotate(-90 13 "+(T+H-B)/2+")"},svg,D.columns[yi]);
 if(front)el("polyline",{points:D.front.map(i=>X(D.values[i][xi])+","+Y(D.values[i][yi])).join(" "),
  fill:"none",stroke:"#c2410c","stroke-width":1.5},svg);
 for(const i of rows){const v=D.values[i],s=D.spreads[i][yi];
  if(s)el("line",{x1:X(v[xi]),x2:X(v[xi]),y1:Math.min(Y(v[yi]-s),H-B),y2:Math.max(Y(v[yi]+s),T),stroke:"#c9d1db"},svg);
  const c=el("circle",{cx:X(v[xi]),cy:Y(v[yi]),r:4.5,fill:D.front.includes(i)?"#c2410c":"#7a8aa0",
   "data-row":i},svg);
  el("title",{},c,"design "+(i+1)+": "+D.columns[xi]+" "+v[xi].toPrecision(4)+", "+D.columns[yi]+" "+v[yi].toPrecision(4));
  c.addEventListener("click",()=>light(i))}}
function light(i){document.querySelectorAll("tr.lit").forEach(r=>r.classList.remove("lit"));
 const row=document.querySelector('tr[data-row="'+i+'"]');row.classList.add("lit");
 row.scrollIntoView({block:"center"})}
function sortBy(th){const i=+th.dataset.column,up=th.getAttribute("aria-sort")!=="ascending";
 document.querySelectorAll("th").forEach(t=>t.removeAttribute("aria-sort"));
 th.setAttribute("aria-sort",up?"ascending":"descending");
 const body=document.querySelector("tbody"),of=r=>i<0?+r.dataset.row:D.values[+r.dataset.row][i];
 [...body.rows].sort((a,b)=>{const p=of(a),q=of(b);
  return p===null?1:q===null?-1:(up?p-q:q-p)}).forEach(r=>body.appendChild(r))}
document.querySelectorAll("th[data-column]").forEach(th=>{th.addEventListener("click",()=>sortBy(th));
 th.addEventListener("keydown",e=>{if(e.key==="Enter")sortBy(th)})});
const xs=document.getElementById("x"),ys=document.getElementById("y");
D.columns.forEach((c,i)=>{xs.add(new Option(c,i));ys.add(new Option(c,i))});
xs.value=0;ys.value=D.columns.indexOf("loss");
const draw=()=>plot("effect",+xs.value,+ys.value,false);
xs.addEventListener("change",draw);ys.addEventListener("change",draw);
plot("pareto",D.x,D.y,true);draw();
</script></body></html>
"""
