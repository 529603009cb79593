"""Tiny randomly initialized checkpoints of the published classes, written by `save_pretrained`.

Each function builds one checkpoint under a folder and returns its path. Seeds are fixed, so a
checkpoint is the same in every session.
"""

import json
import string
from pathlib import Path

import torch

torch.set_num_threads(1)
CHARACTERS = string.ascii_letters + string.digits + string.punctuation


def t5_tokenizer():
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(c, -4.0) for c in CHARACTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)


def t5_encoder(width: int = 32, kind: str = "T5"):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(CHARACTERS) + 8,
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    return getattr(transformers, f"{kind}EncoderModel")(config).eval()


def clip_tokenizer():
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(c + "</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77
    )


CLIP_WORDS = 514


def clip_text_settings(width: int = 32) -> dict:
    return {
        "vocab_size": CLIP_WORDS,
        "hidden_size": width,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "projection_dim": width,
        "bos_token_id": CLIP_WORDS - 2,
        "eos_token_id": CLIP_WORDS - 1,
        "pad_token_id": CLIP_WORDS - 1,
    }


def clip_text_encoder(width: int = 32):
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**clip_text_settings(width))).eval()


def vision_settings(width: int = 32, side: int = 32) -> dict:
    return {
        "hidden_size": width,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": side,
        "patch_size": 8,
        "projection_dim": width,
    }


def clip_image_processor(side: int = 32):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def flux(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )

    torch.manual_seed(0)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            sample_size=32,
            block_out_channels=(4,),
            layers_per_block=1,
            latent_channels=1,
            norm_num_groups=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.0609,
            scaling_factor=1.5035,
        ),
        text_encoder=clip_text_encoder(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_encoder(),
        tokenizer_2=t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
    )
    pipeline.save_pretrained(folder / "flux")
    return folder / "flux"


def cogvideox(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDPMScheduler,
        CogVideoXImageToVideoPipeline,
        CogVideoXTransformer3DModel,
    )

    torch.manual_seed(0)
    blocks = 4
    pipeline = CogVideoXImageToVideoPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(),
        vae=AutoencoderKLCogVideoX(
            in_channels=3,
            out_channels=3,
            down_block_types=("CogVideoXDownBlock3D",) * blocks,
            up_block_types=("CogVideoXUpBlock3D",) * blocks,
            block_out_channels=(8,) * blocks,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        transformer=CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=32,
            num_layers=1,
            sample_width=8,
            sample_height=8,
            sample_frames=9,
            patch_size=2,
            max_text_seq_length=16,
            use_rotary_positional_embeddings=True,
            use_learned_positional_embeddings=True,
        ),
        scheduler=CogVideoXDPMScheduler(),
    )
    pipeline.save_pretrained(folder / "cogvideox")
    return folder / "cogvideox"


def wan(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanImageToVideoPipeline,
        WanTransformer3DModel,
    )
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    pipeline = WanImageToVideoPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(kind="UMT5"),
        vae=AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1] * 4, num_res_blocks=1),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        image_processor=clip_image_processor(),
        image_encoder=CLIPVisionModel(CLIPVisionConfig(**vision_settings())).eval(),
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36,
            out_channels=16,
            text_dim=32,
            ffn_dim=32,
            freq_dim=256,
            num_layers=1,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            image_dim=32,
            rope_max_seq_len=32,
        ),
    )
    pipeline.save_pretrained(folder / "wan")
    return folder / "wan"


def byte_tokenizer():
    """A Llama-like tokenizer of single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def framepack(folder: Path) -> Path:
    """A whole pipeline, and beside it the three parts as the hub keeps them."""
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoFramepackPipeline,
        HunyuanVideoFramepackTransformer3DModel,
    )
    from transformers import LlamaConfig, LlamaModel, SiglipVisionConfig, SiglipVisionModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    torch.manual_seed(0)
    blocks = 4
    pipeline = HunyuanVideoFramepackPipeline(
        text_encoder=LlamaModel(
            LlamaConfig(
                vocab_size=259,
                hidden_size=16,
                intermediate_size=37,
                num_hidden_layers=3,  # the prompt is the output of the third layer from the end
                num_attention_heads=4,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            )
        ).eval(),
        tokenizer=byte_tokenizer(),
        transformer=HunyuanVideoFramepackTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=2,
            patch_size_t=1,
            text_embed_dim=16,
            pooled_projection_dim=32,
            rope_axes_dim=(2, 4, 4),
            has_image_proj=True,
            image_proj_dim=32,
            has_clean_x_embedder=True,
        ),
        vae=AutoencoderKLHunyuanVideo(
            down_block_types=("HunyuanVideoDownBlock3D",) * blocks,
            up_block_types=("HunyuanVideoUpBlock3D",) * blocks,
            block_out_channels=(8,) * blocks,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=4,
            scaling_factor=0.476986,
            spatial_compression_ratio=8,
            temporal_compression_ratio=4,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text_encoder(),
        tokenizer_2=clip_tokenizer(),
        image_encoder=SiglipVisionModel(SiglipVisionConfig(**vision_settings())).eval(),
        feature_extractor=SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    )
    pipeline.save_pretrained(folder / "framepack")
    pipeline.transformer.save_pretrained(folder / "framepack_transformer")
    pipeline.image_encoder.save_pretrained(folder / "framepack_image" / "image_encoder")
    pipeline.feature_extractor.save_pretrained(folder / "framepack_image" / "feature_extractor")
    return folder / "framepack"


def deepfloyd(folder: Path) -> Path:
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    pipeline = IFPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(),
        unet=UNet2DConditionModel(
            sample_size=16,
            layers_per_block=1,
            block_out_channels=[32, 64],
            down_block_types=["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
            in_channels=3,
            out_channels=6,
            cross_attention_dim=32,
            encoder_hid_dim=32,
            attention_head_dim=8,
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            cross_attention_norm="group_norm",
            resnet_time_scale_shift="scale_shift",
            act_fn="gelu",
        ),
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2",
            variance_type="learned_range",
            thresholding=True,
        ),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "deepfloyd")
    return folder / "deepfloyd"


def clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=clip_text_settings(), vision_config=vision_settings(), projection_dim=32
    )
    CLIPModel(config).save_pretrained(folder / "clip")
    CLIPProcessor(clip_image_processor(), clip_tokenizer()).save_pretrained(folder / "clip")
    return folder / "clip"


def xclip(folder: Path) -> Path:
    from transformers import XCLIPConfig, XCLIPModel

    torch.manual_seed(0)
    vision = vision_settings() | {
        "num_frames": 8,
        "mit_hidden_size": 32,
        "mit_intermediate_size": 64,
        "mit_num_attention_heads": 4,
        "mit_num_hidden_layers": 1,
    }
    config = XCLIPConfig(
        text_config=clip_text_settings(),
        vision_config=vision,
        projection_dim=32,
        prompt_num_attention_heads=4,
        prompt_layers=1,
    )
    XCLIPModel(config).save_pretrained(folder / "xclip")
    clip_tokenizer().save_pretrained(folder / "xclip")
    # The published repository's processor is VideoMAE's: a list of frames is one clip.
    processor = {
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "do_resize": True,
        "size": 32,
        "do_center_crop": True,
        "crop_size": 32,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
    }
    (folder / "xclip" / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder / "xclip"


def depth_pro(folder: Path) -> Path:
    from transformers import DepthProConfig, DepthProForDepthEstimation

    torch.manual_seed(0)
    encoder = {
        "model_type": "dinov2",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 16,
        "patch_size": 4,
    }
    config = DepthProConfig(
        patch_size=16,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[16, 8],
        scaled_images_ratios=[0.25, 0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2, 0.25],
        scaled_images_feature_dims=[16, 16, 16],
        num_fov_head_layers=1,
        use_fov_model=True,
        image_model_config=dict(encoder),
        patch_model_config=dict(encoder),
        fov_model_config=dict(encoder),
    )
    network = DepthProForDepthEstimation(config)
    with torch.no_grad():  # random weights, but a depth and an angle that can be
        network.head.layers[-2].bias += 0.5
        network.fov_model.head.layers[-1].bias += 60.0
    network.save_pretrained(folder / "depth_pro")
    return folder / "depth_pro"


def depth_anything(folder: Path) -> Path:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    torch.manual_seed(0)
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=28,
            patch_size=14,
            out_features=["stage1", "stage2"],
            reshape_hidden_states=False,
            apply_layernorm=True,
        ),
        patch_size=14,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type="metric",
        max_depth=20,
        initializer_range=0.5,  # else all pixels lie within micrometres
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder / "depth_anything")
    DPTImageProcessorPil(
        size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder / "depth_anything")
    return folder / "depth_anything"


def moge(folder: Path) -> Path:
    """MoGe-2 with a DINOv2 of two layers, registered under a name of its own."""
    from depth_estimation.models.moge import modeling_moge

    def backbone(*, pretrained=True, **kwargs):
        assert not pretrained  # never the network
        return modeling_moge._DinoVisionTransformer(
            img_size=28,
            patch_size=14,
            embed_dim=32,
            depth=2,
            num_heads=2,
            block_chunks=0,
            init_values=1.0,
            **kwargs,
        )

    modeling_moge._BACKBONE_LOADERS["dinov2_tiny14"] = backbone
    torch.manual_seed(0)
    levels = [32] * 5
    head = {
        "dim_in": levels,
        "dim_res_blocks": levels,
        "num_res_blocks": [0, 0, 0, 0, 0],
        "resamplers": ["bilinear"] * 4,
    }
    config = {
        "encoder": {"backbone": "dinov2_tiny14", "intermediate_layers": 2, "dim_out": 32},
        "neck": head | {"dim_in": [34, 2, 2, 2, 2], "dim_out": levels},
        "points_head": head | {"dim_out": [None, None, None, None, 3]},
        "mask_head": head | {"dim_out": [None, None, None, None, 1]},
        "scale_head": {"dims": [32, 16, 1]},
        "remap_output": "exp",
        "num_tokens_range": [4, 9],
    }
    network = modeling_moge._MoGeModelV2(**config)
    with torch.no_grad():
        network.mask_head.output_blocks[-1].bias += 5.0  # random weights, but everything is seen
    (folder / "moge").mkdir(exist_ok=True)
    torch.save(
        {"model_config": config, "model": network.state_dict()}, folder / "moge" / "model.pt"
    )
    return folder / "moge"


MVDREAM = {
    "unet": {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": (2, 4),
        "cross_attention_dim": 32,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 16,
    },
    "vae": {
        "sample_size": 16,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
    "text_encoder": clip_text_settings() | {"hidden_act": "gelu"},
}


def mvdream(folder: Path) -> Path:
    """The authors' file, `mvdream.pt`, in their names, and a tokenizer beside it."""
    import ldm_names
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(**MVDREAM["unet"])
    vae = AutoencoderKL(**MVDREAM["vae"])
    text = CLIPTextModel(CLIPTextConfig(**MVDREAM["text_encoder"]))
    weights = {
        **ldm_names.unet_names(unet.state_dict(), MVDREAM["unet"]["layers_per_block"]),
        **ldm_names.vae_names(vae.state_dict(), len(MVDREAM["vae"]["block_out_channels"])),
        **ldm_names.text_names(text.state_dict()),
    }
    torch.save(weights, folder / "mvdream.pt")
    clip_tokenizer().save_pretrained(folder / "mvdream_words")
    for part, network in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        network.save_pretrained(folder / "mvdream_parts" / part)
    return folder / "mvdream.pt"
