"""Diffusers' weights under the names of the latent diffusion code base, as MVDream's file has them.

Written from the layout of that code base, as the inverse of what the converter has to do.
"""

import re

import torch

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "camera_embed.0",
    "class_embedding.linear_2": "camera_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def unet_names(state: dict, layers: int) -> dict:
    attentions = {re.sub(r"attentions\.(\d+)\..*", r"\1", k) for k in state if ".attentions." in k}
    renamed = {}
    for name, tensor in state.items():
        renamed["model.diffusion_model." + _unet_name(name, layers, attentions)] = tensor
    return renamed


def _unet_name(name: str, layers: int, attentions: set) -> str:
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    side, rest = name.split(".", 1)
    if side == "mid_block":
        kind, index, rest = rest.split(".", 2)
        place = "middle_block." + ("1" if kind == "attentions" else str(2 * int(index)))
        return f"{place}.{_inside(kind, rest)}"
    block, kind, index, rest = rest.split(".", 3)
    first = int(block) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{1 + first + layers}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        after = 2 if f"up_blocks.{block}.{layers}" in attentions else 1
        return f"output_blocks.{first + layers}.{after}.{rest}"
    place = f"input_blocks.{1 + first + int(index)}"
    if side == "up_blocks":
        place = f"output_blocks.{first + int(index)}"
    return f"{place}.{1 if kind == 'attentions' else 0}.{_inside(kind, rest)}"


def _inside(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    layer, rest = rest.split(".", 1)
    return f"{RESNET[layer]}.{rest}"


def vae_names(state: dict, blocks: int) -> dict:
    renamed = {}
    for name, tensor in state.items():
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        for i in range(blocks):
            name = name.replace(f"up_blocks.{i}.resnets", f"up.{blocks - 1 - i}.block")
            name = name.replace(f"up_blocks.{i}.upsamplers.0", f"up.{blocks - 1 - i}.upsample")
        name = re.sub(
            r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m.group(1)) + 1}", name
        )
        if "mid_block.attentions.0" in name:
            start, inner = name.split("mid_block.attentions.0.")
            layer, end = inner.rsplit(".", 1)
            name = f"{start}mid.attn_1.{VAE_ATTENTION[layer]}.{end}"
            if layer != "group_norm" and end == "weight":
                tensor = tensor[:, :, None, None]  # a 1 x 1 convolution there
        renamed[f"first_stage_model.{name}"] = tensor
    return renamed


def text_names(state: dict) -> dict:
    """OpenCLIP: query, key and value are one matrix."""
    prefix, renamed = "cond_stage_model.model.", {}
    simple = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    inner = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    for name, tensor in state.items():
        if name in simple:
            renamed[prefix + simple[name]] = tensor
            continue
        layer, end = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", name).groups()
        place = f"{prefix}transformer.resblocks.{layer}."
        for ours, theirs in inner.items():
            if end.startswith(ours):
                renamed[place + end.replace(ours, theirs)] = tensor
        if end.startswith("self_attn.q_proj"):
            kind = end.rsplit(".", 1)[1]
            parts = [state[name.replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj")]
            renamed[f"{place}attn.in_proj_{kind}"] = torch.cat(parts)
    width = state["final_layer_norm.weight"].shape[0]
    renamed[prefix + "text_projection"] = torch.zeros(width, width)
    return renamed
