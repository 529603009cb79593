"""Tiny randomly initialized checkpoints of the published classes, written by `save_pretrained`.

Each function builds one checkpoint under a folder and returns its path. Seeds are fixed, so a
checkpoint is the same in every session.
"""

import contextlib
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


CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] if m['content'] is string else m['content'][0]['text'] }}\n{% endfor %}"


def qwen_tokenizer():
    """Bytes, with the special tokens of Qwen and a chat template."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Qwen2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    tokenizer.chat_template = CHAT
    return tokenizer


QWEN_WORDS = 300
SMALL_QWEN = {
    "vocab_size": QWEN_WORDS,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
QWEN_VL_ROPE = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}


def flux2_klein(folder: Path) -> Path:
    """As FLUX.2-klein: distilled, a Qwen3 encoder of which layers 9, 18 and 27 are read."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=Qwen3ForCausalLM(
            Qwen3Config(**SMALL_QWEN, head_dim=8, num_hidden_layers=28)
        ).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=Flux2Transformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=48,
            timestep_guidance_channels=32,
            axes_dims_rope=[4, 4, 4, 4],
            guidance_embeds=False,
        ),
        vae=AutoencoderKLFlux2(
            sample_size=32,
            down_block_types=("DownEncoderBlock2D",),
            up_block_types=("UpDecoderBlock2D",),
            block_out_channels=(4,),
            layers_per_block=1,
            latent_channels=1,
            norm_num_groups=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        is_distilled=True,
    )
    pipeline.save_pretrained(folder / "flux2_klein")
    return folder / "flux2_klein"


def qwen_image(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(0)
    small = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}
    config = Qwen2_5_VLConfig(
        text_config=SMALL_QWEN | {"num_hidden_layers": 2, "rope_parameters": QWEN_VL_ROPE},
        vision_config=small | {"out_hidden_size": 16},
        vision_start_token_id=QWEN_WORDS - 3,
        vision_end_token_id=QWEN_WORDS - 2,
        image_token_id=QWEN_WORDS - 1,
    )
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            guidance_embeds=False,
            axes_dims_rope=(8, 4, 4),
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=24,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
    )
    pipeline.save_pretrained(folder / "qwen_image")
    return folder / "qwen_image"


def z_image(folder: Path) -> Path:
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        ZImagePipeline,
        ZImageTransformer2DModel,
    )
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        in_channels=16,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 32, 32],
    )
    with torch.no_grad():  # made by torch.empty
        transformer.x_pad_token.fill_(1.0)
        transformer.cap_pad_token.fill_(1.0)
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=Qwen3Model(Qwen3Config(**SMALL_QWEN, head_dim=8, num_hidden_layers=2)).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        vae=AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[4, 4, 4, 4],
            layers_per_block=1,
            latent_channels=16,
            norm_num_groups=2,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        ),
    )
    pipeline.save_pretrained(folder / "z_image")
    return folder / "z_image"


def wan_22(folder: Path, kind: str) -> Path:
    """Of Wan 2.2: "a14b" has two transformers and no image encoder, "ti2v" another autoencoder."""
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanImageToVideoPipeline,
        WanTransformer3DModel,
    )

    torch.manual_seed(0)
    is_a14b = kind == "a14b"

    def transformer():
        return WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36 if is_a14b else 48,
            out_channels=16 if is_a14b else 48,
            text_dim=32,
            ffn_dim=32,
            freq_dim=64,
            num_layers=1,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        )

    common = {"base_dim": 3, "dim_mult": [1] * 4, "num_res_blocks": 1}
    if is_a14b:
        vae = AutoencoderKLWan(**common, z_dim=16)
    else:
        vae = AutoencoderKLWan(
            **common,
            z_dim=48,
            in_channels=12,
            out_channels=12,
            is_residual=True,
            patch_size=2,
            latents_mean=[0.0] * 48,
            latents_std=[1.0] * 48,
            scale_factor_spatial=16,
            scale_factor_temporal=4,
            temperal_downsample=[False, True, True],
        )
    pipeline = WanImageToVideoPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(kind="UMT5"),
        vae=vae,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
        ),
        transformer=transformer(),
        transformer_2=transformer() if is_a14b else None,
        image_encoder=None,
        image_processor=None,
        boundary_ratio=0.9 if is_a14b else None,
        expand_timesteps=not is_a14b,
    )
    pipeline.save_pretrained(folder / f"wan_22_{kind}")
    return folder / f"wan_22_{kind}"


def wan_22_a14b(folder: Path) -> Path:
    return wan_22(folder, "a14b")


def wan_22_ti2v(folder: Path) -> Path:
    return wan_22(folder, "ti2v")


def hunyuan_15(folder: Path) -> Path:
    """As HunyuanVideo 1.5 for images: Qwen2.5-VL's language model, ByT5, SigLIP, a guider."""
    from diffusers import (
        AutoencoderKLHunyuanVideo15,
        ClassifierFreeGuidance,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideo15ImageToVideoPipeline,
        HunyuanVideo15Transformer3DModel,
    )
    from transformers import (
        ByT5Tokenizer,
        Qwen2_5_VLTextConfig,
        Qwen2_5_VLTextModel,
        SiglipVisionConfig,
        SiglipVisionModel,
        T5Config,
        T5EncoderModel,
    )
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    torch.manual_seed(0)
    qwen = SMALL_QWEN | {"num_hidden_layers": 3, "rope_parameters": QWEN_VL_ROPE}
    pipeline = HunyuanVideo15ImageToVideoPipeline(
        text_encoder=Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(**qwen)).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_refiner_layers=1,
            mlp_ratio=2.0,
            patch_size=1,
            patch_size_t=1,
            text_embed_dim=16,
            text_embed_2_dim=32,
            image_embed_dim=32,
            rope_axes_dim=(2, 2, 4),
            target_size=32,
            task_type="i2v",
        ),
        vae=AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(16, 16),
            layers_per_block=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=2,
            downsample_match_channel=False,
            upsample_match_channel=False,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=384, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        ).eval(),
        tokenizer_2=ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
        # The pipeline counts on 729 tokens of the image, SigLIP's 27 x 27.
        image_encoder=SiglipVisionModel(
            SiglipVisionConfig(**vision_settings() | {"image_size": 54, "patch_size": 2})
        ).eval(),
        feature_extractor=SiglipImageProcessorPil(size={"height": 54, "width": 54}),
    )
    pipeline.save_pretrained(folder / "hunyuan_15")
    return folder / "hunyuan_15"


def ltx2(folder: Path) -> Path:
    """As LTX-2: Gemma 3 read through connectors, autoencoders of image and sound, a vocoder."""
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2ImageToVideoPipeline,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    torch.manual_seed(0)
    text = {
        "vocab_size": 300,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    gemma = Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=299
    )
    connector = {
        f"{kind}_connector_{name}": value
        for kind in ("video", "audio")
        for name, value in {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_layers": 1,
            "num_learnable_registers": None,
        }.items()
    }
    mel = {"mel_bins": 8, "output_channels": 2}
    pipeline = LTX2ImageToVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8,),
            decoder_block_out_channels=(8,),
            layers_per_block=(1,),
            decoder_layers_per_block=(1, 1),
            spatio_temporal_scaling=(True,),
            decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False),
            downsample_type=("spatial",),
            upsample_residual=(False,),
            upsample_factor=(1,),
            patch_size=1,
            patch_size_t=1,
            encoder_causal=True,
            decoder_causal=False,
        ),
        audio_vae=AutoencoderKLLTX2Audio(
            base_channels=4,
            ch_mult=(1,),
            num_res_blocks=1,
            attn_resolutions=None,
            in_channels=2,
            resolution=32,
            latent_channels=2,
            norm_type="pixel",
            causality_axis="height",
            mid_block_add_attention=False,
            sample_rate=16000,
            mel_hop_length=160,
            is_causal=True,
            **mel,
        ),
        text_encoder=Gemma3ForConditionalGeneration(gemma).eval(),
        tokenizer=byte_tokenizer(),
        connectors=LTX2TextConnectors(
            caption_channels=16,
            text_proj_in_factor=3,
            connector_rope_base_seq_len=32,
            rope_theta=10000.0,
            rope_double_precision=False,
            causal_temporal_positioning=False,
            rope_type="split",
            **connector,
        ),
        transformer=LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            patch_size=1,
            patch_size_t=1,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=1,
            qk_norm="rms_norm_across_heads",
            caption_channels=16,
            rope_double_precision=False,
            rope_type="split",
        ),
        vocoder=LTX2Vocoder(
            in_channels=16,
            hidden_channels=32,
            out_channels=2,
            upsample_kernel_sizes=[4, 4],
            upsample_factors=[2, 2],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
            leaky_relu_negative_slope=0.1,
            output_sampling_rate=16000,
        ),
    )
    pipeline.save_pretrained(folder / "ltx2")
    return folder / "ltx2"


def qwen3_vl(folder: Path) -> Path:
    """As Qwen3-VL: DeepStack, three rotary sections, a template that marks images, Qwen2-VL's image
    processor with patches of 16."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    marks = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
        "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
        "{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    start, picture, end = tokenizer.convert_tokens_to_ids(marks)
    rope = QWEN_VL_ROPE | {"mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=SMALL_QWEN
        | {"head_dim": 8, "num_hidden_layers": 2, "rope_parameters": rope, "eos_token_id": 2},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=picture,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder / "qwen3_vl")
    tokenizer.save_pretrained(folder / "qwen3_vl")
    Qwen2VLImageProcessorPil(
        patch_size=16,
        temporal_patch_size=2,
        merge_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 96 * 96},
    ).save_pretrained(folder / "qwen3_vl")
    return folder / "qwen3_vl"


def siglip2(folder: Path) -> Path:
    """As google/siglip2-...-patch14-384: SigLIP's network, Gemma's tokenizer, 64 tokens."""
    from transformers import Siglip2Tokenizer, SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    torch.manual_seed(0)
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁"]
    words += [f"<0x{byte:02X}>" for byte in range(256)] + list(string.ascii_lowercase)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4}
    config = SiglipConfig(
        text_config=small
        | {"num_hidden_layers": 2, "vocab_size": len(words), "max_position_embeddings": 64},
        vision_config=vision_settings(),
    )
    SiglipModel(config).save_pretrained(folder / "siglip2")
    Siglip2Tokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=64
    ).save_pretrained(folder / "siglip2")
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder / "siglip2")
    return folder / "siglip2"


def sapiens2(folder: Path, kind: str, labels: int = 308) -> Path:
    """As facebook/sapiens2: grouped queries in the middle, a head of transposed convolutions (pose) or of
    pixel shuffles with a branch for scale (pointmap)."""
    import transformers

    torch.manual_seed(0)
    head = {"upsample_out_channels": [8, 8], "conv_out_channels": [8]}
    if kind == "pointmap":
        head |= {
            "upsample_out_channels": [8] * 4,  # back to the image's size
            "use_pixel_shuffle": True,
            "upsample_kernel_size": 3,
            "scale_conv_out_channels": [8],
            "scale_final_hidden_sizes": [8, 8],
        }
    config = transformers.Sapiens2Config(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        num_first_full_attention_layers=1,
        num_last_full_attention_layers=1,
        num_register_tokens=2,
        image_size=[64, 48],
        num_labels=labels if kind == "pose" else 3,
        head_config=head,
    )
    name = {"pose": "Sapiens2ForPoseEstimation", "pointmap": "Sapiens2ForPointmapEstimation"}[kind]
    network = getattr(transformers, name)(config)
    network.save_pretrained(folder / f"sapiens2_{kind}")
    return folder / f"sapiens2_{kind}"


def sapiens2_pose(folder: Path) -> Path:
    return sapiens2(folder, "pose")


def sapiens2_points(folder: Path) -> Path:
    return sapiens2(folder, "pointmap")


def depth_anything3(folder: Path) -> Path:
    """DA3METRIC's network in small, named as its checkpoint: see `small_depth_anything3`."""
    from depth_estimation.models.depth_anything_v3.configuration_depth_anything_v3 import (
        DepthAnythingV3Config,
    )
    from depth_estimation.models.depth_anything_v3.modeling_depth_anything_v3 import (
        _DepthAnythingV3Net,
    )
    from safetensors.torch import save_file

    torch.manual_seed(0)
    with small_depth_anything3():
        network = _DepthAnythingV3Net(DepthAnythingV3Config(backbone="metric_large"))
    weights = {f"model.{name}": value for name, value in network.state_dict().items()}
    (folder / "depth_anything3").mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "depth_anything3" / "model.safetensors")
    return folder / "depth_anything3"


@contextlib.contextmanager
def small_depth_anything3():
    """The package's table of sizes, with a small ViT for DA3METRIC: its checkpoints name no size."""
    import depth_estimation.models.depth_anything_v3.configuration_depth_anything_v3 as module
    import depth_estimation.models.depth_anything_v3.modeling_depth_anything_v3 as networks

    table = module._V3_BACKBONE_CONFIGS
    kept, vit = table["metric_large"], networks.vit_small
    table["metric_large"] = kept | {
        "dinov2_name": "vits",
        "head_dim_in": 48,
        "out_layers": [0, 1, 2, 3],
        "features": 8,
        "out_channels": [8, 8, 8, 8],
    }
    networks.vit_small = lambda **kwargs: networks.DinoVisionTransformer(
        **kwargs | {"patch_size": 14, "embed_dim": 48, "depth": 4, "num_heads": 2}
    )
    try:
        yield
    finally:
        table["metric_large"], networks.vit_small = kept, vit


def qwen3(folder: Path) -> Path:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(**SMALL_QWEN, head_dim=8, num_hidden_layers=2, eos_token_id=2)
    Qwen3ForCausalLM(config).save_pretrained(folder / "qwen3")
    qwen_tokenizer().save_pretrained(folder / "qwen3")
    return folder / "qwen3"
