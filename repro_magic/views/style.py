"""The panel's style sheet. It uses JupyterLab's theme variables, so it follows the page's light or dark theme."""

_LINE = "1px solid var(--jp-border-color2, rgba(128, 128, 128, 0.4))"

PANEL_CSS = f"""
.repro-magic-panel {{ max-width: 68em; padding: 4px 2px; overflow: visible; }}
.repro-magic-panel .widget-html-content, .repro-magic-panel .widget-html > .widget-html-content {{
  line-height: 1.45; color: var(--jp-ui-font-color1, inherit); overflow: visible; height: auto; }}
.repro-magic-panel .widget-html {{ height: auto; }}
.repro-magic-headline {{ font-size: 1.15em; min-height: 1.5em; }}
.repro-magic-heading {{ font-weight: 600; margin-top: 8px; padding-bottom: 2px; border-bottom: {_LINE}; }}
.repro-magic-grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 0 16px; }}
.repro-magic-setting {{ align-items: baseline; }}
.repro-magic-setting .widget-html-content {{ font-size: 0.92em; }}
.repro-magic-panel .widget-checkbox {{ width: auto; margin: 0 2px; }}
.repro-magic-table {{ overflow: auto; max-height: 24em; }}
.repro-magic-table table {{ border-collapse: collapse; font-size: 0.95em; margin: 0; }}
.repro-magic-table th, .repro-magic-table td {{
  text-align: left; vertical-align: top; padding: 2px 12px 2px 0; border-bottom: {_LINE}; min-width: 4em; }}
.repro-magic-code {{ display: flex; align-items: flex-start; gap: 8px; }}
.repro-magic-code textarea {{
  flex: 1; min-width: 0; resize: vertical; white-space: pre; font-family: var(--jp-code-font-family, monospace);
  font-size: var(--jp-code-font-size, 0.95em); color: inherit; border: {_LINE}; padding: 4px;
  background: var(--jp-layout-color1, transparent); }}
/* What the panel showed last stands in the output below it. Where the panel is drawn, that would say it twice. */
:has(.repro-magic-panel):not(:has(.repro-magic-last)) + :has(.repro-magic-last) .repro-magic-last {{ display: none; }}
.repro-magic-lost {{ display: none; }}
.jupyter-widgets-disconnected .repro-magic-lost {{ display: block; }}
.jupyter-widgets-disconnected .repro-magic-headline {{ display: none; }}
.repro-magic-panel.jupyter-widgets-disconnected::before, .repro-magic-panel .jupyter-widgets-disconnected::before {{
  display: none; }}
.repro-magic-panel.jupyter-widgets-disconnected > :not(:first-child) {{ opacity: 0.5; pointer-events: none; }}
"""
